# SPDX-License-Identifier: Apache-2.0
#
# Servers and clients of perl's socket libraries:
#
#	perl perl.pl fork PORT			IO::Socket::IP, a process for each connection
#	perl perl.pl select PORT		IO::Select, one process, non-blocking
#	perl perl.pl http PORT			HTTP::Daemon, 4 processes that accept
#	perl perl.pl client ADDRESS PORT CONNECTIONS BYTES
#	perl perl.pl get URL REQUESTS		LWP::UserAgent, connection kept
#
# Servers print "ready" and send back what they get. Clients compare every byte
# and print "ok".
use strict;
use warnings;
use IO::Select;
use IO::Socket::IP;
use POSIX qw(EAGAIN EWOULDBLOCK EINTR);
use Socket qw(SOMAXCONN SHUT_WR);

$| = 1;
$SIG{PIPE} = 'IGNORE';
my ($mode, @args) = @ARGV;

sub listener {
	my ($port) = @_;
	return IO::Socket::IP->new(LocalHost => "::", LocalPort => $port, Listen => SOMAXCONN, ReuseAddr => 1, V6Only => 0)
		|| die "listen on port $port: $@\n";
}

sub serve_fork {
	my $listener = listener(@_);
	$SIG{CHLD} = 'IGNORE';
	print "ready\n";
	while (1) {
		my $s = $listener->accept or next;    # EINTR
		my $pid = fork // die "fork: $!\n";
		if ($pid == 0) {
			close $listener;
			while (sysread($s, my $data, 65536)) {
				for (my $at = 0; $at < length $data;) {
					$at += syswrite($s, $data, length($data) - $at, $at) // die "write: $!\n";
				}
			}
			exit 0;
		}
		close $s;
	}
}

# A write that would wait leaves the rest for the next turn.
sub serve_select {
	my $listener = listener(@_);
	my ($readers, $writers) = (IO::Select->new($listener), IO::Select->new);
	my (%pending, %ended);
	print "ready\n";
	while (1) {
		my ($readable, $writable) = IO::Select->select($readers, $writers);
		for my $s (@$readable) {
			if ($s == $listener) {
				my $new = $listener->accept or next;
				$new->blocking(0);
				$readers->add($new);
				$pending{$new} = "";
				next;
			}
			my $n = sysread($s, $pending{$s}, 65536, length $pending{$s});
			next if !defined $n && ($! == EAGAIN || $! == EINTR);
			die "read: $!\n" unless defined $n;
			$readers->remove($s) if !$n || length $pending{$s} > 1 << 20;
			$ended{$s} = 1 unless $n;
			$writers->add($s);
		}
		for my $s (@$writable) {
			my $n = length $pending{$s} ? syswrite($s, $pending{$s}) : 0;
			next if !defined $n && ($! == EAGAIN || $! == EINTR);
			die "write: $!\n" unless defined $n;
			substr($pending{$s}, 0, $n) = "";
			$readers->add($s) if !$ended{$s} && length $pending{$s} <= 1 << 20;
			next if length $pending{$s};
			$writers->remove($s);
			next unless $ended{$s};
			delete $pending{$s};
			delete $ended{$s};
			close $s;
		}
	}
}

sub serve_http {
	require HTTP::Daemon;
	require HTTP::Response;
	my $daemon = HTTP::Daemon->new(LocalHost => "::", LocalPort => $_[0], Listen => SOMAXCONN, ReuseAddr => 1, V6Only => 0) || die "listen: $@\n";
	for (1 .. 3) { last if fork == 0 }
	print "ready\n";
	while (1) {
		my $c = $daemon->accept or next;
		while (my $r = $c->get_request) {
			$c->send_response(HTTP::Response->new(200, "OK", ["Content-Type" => "application/octet-stream"], $r->content));
		}
		$c->close;
	}
}

sub bytes {
	my ($seed, $n) = @_;
	srand $seed;
	return substr(pack("N*", map { int rand 4294967296 } 0 .. $n / 4), 0, $n);
}

sub client {
	my ($address, $port, $connections, $n) = @_;
	my ($select, $writers) = (IO::Select->new, IO::Select->new);
	my (%want, %sent, %got);
	for my $i (1 .. $connections) {
		my $s = IO::Socket::IP->new(PeerHost => $address, PeerPort => $port, Timeout => 20) || die "connect: $@\n";
		die "connected to " . $s->peerhost . "\n" unless $s->peerhost eq $address && $s->peerport == $port;
		$s->blocking(0);
		$_->add($s) for $select, $writers;
		($want{$s}, $sent{$s}, $got{$s}) = (bytes($i, $n), 0, "");
	}
	while ($select->count) {
		my @ready = IO::Select->select($select, $writers, undef, 30) or die "nothing for 30 s\n";
		for my $s (@{ $ready[1] }) {
			my $n = syswrite($s, $want{$s}, $n - $sent{$s}, $sent{$s}) // ($! == EAGAIN ? 0 : die "write: $!\n");
			next if ($sent{$s} += $n) < length $want{$s};
			$s->shutdown(SHUT_WR) or die "shutdown: $!\n";
			$writers->remove($s);
		}
		for my $s (@{ $ready[0] }) {
			my $n = sysread($s, $got{$s}, 65536, length $got{$s}) // ($! == EAGAIN ? next : die "read: $!\n");
			next if $n;
			die "bytes changed\n" unless $got{$s} eq $want{$s};
			$select->remove($s);
			close $s;
		}
	}
	print "ok\n";
}

sub get {
	require LWP::UserAgent;
	my ($url, $requests) = @_;
	my $agent = LWP::UserAgent->new(keep_alive => 1, timeout => 30);
	for my $i (1 .. $requests) {
		my $body = bytes($i, $i * 7919 % 65536);
		my $response = $agent->post($url, Content => $body);
		die "request $i: " . $response->status_line . "\n" unless $response->is_success;
		die "request $i: bytes changed\n" unless $response->content eq $body;
	}
	print "ok\n";
}

my %modes = (fork => \&serve_fork, select => \&serve_select, http => \&serve_http, client => \&client, get => \&get);
($modes{$mode} // die "mode $mode\n")->(@args);
